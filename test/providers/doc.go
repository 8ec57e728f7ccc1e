// Package providers holds a real server and example plugins that provide something, a cloud and
// an API of their own, each in a process of its own, to what an operator and clients see. It
// knows the program and its API only.
package providers
