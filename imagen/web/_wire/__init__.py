"""Forms of the API that several subjects share: requests, rows, filters, errors."""
