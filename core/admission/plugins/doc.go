// Package plugins asks the plugins that take part in admission: those that a request is for,
// with a deadline, and with a failure policy for when no answer comes.
//
// A plugin has a place here from when it is first known until it is removed. While it is away,
// which it is between two of its lives and while the server starts, requests that it would be
// asked about wait for it a little, and are then refused or let through as its policy says.
//
// What the cluster needs to heal itself is exempt: see Exempt. The package must not know how a
// plugin is run, nor what makes it come and go.
package plugins
