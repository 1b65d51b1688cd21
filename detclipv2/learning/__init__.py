"""Where the gradient comes from: assignment and losses, pure functions of tensors."""
