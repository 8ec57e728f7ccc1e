package bootstrap

// Sign is the signature of a text with a token.
var Sign = sign
