// Package encryption holds real server processes to what encryption at rest promises: nothing of
// a secret stands readable in the data directory, keys can be changed while the server runs, and
// a server without its keys says what is missing. It knows the program and its API only.
package encryption
