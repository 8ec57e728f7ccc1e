// Command gizmo-name is a plugin for Pintle: a key manager for encryption at rest.
package main

import (
	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, kms.Point(p))
}
