// Command bridge is a plugin for Pintle: it connects the pods of a node.
package main

import (
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, network.Point(p))
}
