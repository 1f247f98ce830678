"""What the local server answers, beside the contract that it serves as OpenAPI."""
