// Package plugin is the base contract of every Pintle plugin: who it is, what settings it
// takes, and how it is served by a process of its own. What a plugin does is said by the
// small interfaces of the sibling packages (controller, scheduler, network, resource)
// that it also implements.
package plugin
