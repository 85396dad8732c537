"""Networks evaluated on whole scans whose lesions are known."""
