// Command gizmo-name is a plugin for Pintle: it decides who may do what.
package main

import (
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, authorization.Point(p))
}
