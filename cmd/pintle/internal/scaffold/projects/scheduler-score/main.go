// Command gizmo-name is a plugin for Pintle: it compares nodes for the scheduler.
package main

import (
	"github.com/pintle-dev/pintle/sdk/scheduling"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, scheduling.Point(p))
}
