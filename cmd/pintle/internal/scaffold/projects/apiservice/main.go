// Command gizmo-name is a plugin for Pintle: it serves a version of an API group itself.
package main

import (
	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, apiservice.Point(p))
}
