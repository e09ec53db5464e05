"""The frozen CLIP towers, the embeddings in front of them and the network around them."""
