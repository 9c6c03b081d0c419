"""Steps ① ② ⑦ of a frame's way: authenticates clients, takes what they send, fans events out to them."""
