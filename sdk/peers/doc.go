// Package peers is how a plugin calls other plugins: it learns which offer an extension point,
// and gets a connection to each through the host. Only points that the plugin's entry in the
// catalogue says it uses can be called. What goes over a connection is the point's own
// protocol, of which this package knows nothing.
package peers
