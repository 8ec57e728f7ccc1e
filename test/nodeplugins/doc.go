// Package nodeplugins holds the tests of third parties' plugins on nodes: a real server, real
// agents with a containerd of their own each, and plugins from a registry on loopback, which the
// test binary plays. It knows the command line and the API.
//
// PINTLE names a built program, as for all suites of processes. Agents need root and containerd;
// without, the tests are left out with a word.
package nodeplugins
