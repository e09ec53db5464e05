"""How far what a network says can be trusted under each missing pattern: temperatures, sets of classes, abstention."""
