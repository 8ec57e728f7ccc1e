// Command gizmo-name is a plugin for Pintle: the container runtime of a node.
package main

import (
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, runtimedriver.Point(p))
}
