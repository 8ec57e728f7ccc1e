// Package runtime holds Pintle to what operators built with controller-runtime expect: a
// manager with a definition of its own, webhooks, leader election, metrics and a cache, as
// processes beside a real server process. It is a module of its own, so that
// controller-runtime's requirements are not Pintle's.
package runtime
