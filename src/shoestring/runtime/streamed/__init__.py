"""What users see of a model that streams its experts: what is planned, predicted and measured."""
