"""What works through ledgers for as long as it runs, beside other processes and machines."""
