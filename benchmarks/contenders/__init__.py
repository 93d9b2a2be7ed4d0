"""Ways to fetch many pictures: `python -m benchmarks.contenders.NAME URL --images N ...` prints one line of JSON."""
