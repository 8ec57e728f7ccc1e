// Package process builds programs and runs Pintle's servers in processes of their own, for all
// suites that test the real thing. It knows the command line and nothing of the API, and it
// requires nothing but Go, so that it changes no suite's dependencies.
package process
