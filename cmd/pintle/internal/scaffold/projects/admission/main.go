// Command gizmo-name is a plugin for Pintle: it takes part in admission.
package main

import (
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, admission.Point(p))
}
