// Package tutorials does what the pages in docs/tutorials say, word for word, as a stranger
// would: in a temporary folder outside the repository, with the program pintle, a cluster of its
// own, and nothing else of ours but the SDK's checkout in PINTLE_SDK, which the pages explain.
//
// It also makes a project of each kind that `pintle plugin new` offers, and builds and tests it.
package tutorials
