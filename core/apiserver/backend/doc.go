// Package backend reaches the servers that stand behind Services: extension API servers and
// webhooks. It goes to the endpoints of a Service itself, since the machine of the control
// plane need not know how to route a Service's cluster IP.
//
// It must not know what is asked of those servers, nor who asks.
package backend
