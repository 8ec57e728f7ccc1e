// Package firstparty names the plugins that ship inside the pintle binary. It is the only
// place that does.
package firstparty

import (
	"fmt"
	"slices"

	"github.com/pintle-dev/pintle/plugins/cloud"
	"github.com/pintle-dev/pintle/plugins/network"
	"github.com/pintle-dev/pintle/plugins/scheduler"
	"github.com/pintle-dev/pintle/plugins/serviceproxy"
	"github.com/pintle-dev/pintle/plugins/workloads"
	"github.com/pintle-dev/pintle/runtime/driver/sim"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

type entry struct {
	new        func() plugin.Plugin
	nodeScoped bool
	// uses are the points of other plugins that it may call.
	uses []protocol.Point
}

func catalogue() map[string]entry {
	return map[string]entry{
		"scheduler":    {new: func() plugin.Plugin { return scheduler.New() }, uses: []protocol.Point{protocol.PointScheduling}},
		"workloads":    {new: func() plugin.Plugin { return workloads.New() }, uses: []protocol.Point{protocol.PointStorage}},
		"cloud":        {new: func() plugin.Plugin { return cloud.New() }, uses: []protocol.Point{protocol.PointCloud}},
		"network":      {new: func() plugin.Plugin { return network.New() }, nodeScoped: true},
		"serviceproxy": {new: func() plugin.Plugin { return serviceproxy.New() }, nodeScoped: true},
		sim.Name:       {new: func() plugin.Plugin { return sim.NewPlugin() }, nodeScoped: true},
	}
}

// Names of all first-party plugins, sorted.
func Names() []string {
	var names []string
	for name := range catalogue() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// New returns the named plugin's implementation.
func New(name string) (plugin.Plugin, error) {
	e, ok := catalogue()[name]
	if !ok {
		return nil, fmt.Errorf("there is no first-party plugin %q; there are %v", name, Names())
	}
	return e.new(), nil
}

// NodeScoped reports whether the named plugin runs on each node.
func NodeScoped(name string) bool { return catalogue()[name].nodeScoped }

// Known reports whether there is a first-party plugin of this name.
func Known(name string) bool { return slices.Contains(Names(), name) }
