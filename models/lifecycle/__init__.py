"""Who the customers are: rhythm of buying, profile, lifecycle stage and value layer."""
