"""Ways to fetch many images: `python -m benchmarks.contenders.NAME URL --images
N ...` prints one line of JSON.
"""
