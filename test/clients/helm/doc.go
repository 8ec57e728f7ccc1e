// Package helm holds Pintle to what Helm expects, with Helm's own command line built from its
// module, against a real server process. There is no real node: a hollow one in the suite
// says what pods do. It is a module of its own, so that Helm's requirements are not Pintle's.
package helm
