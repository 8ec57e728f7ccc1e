// Command gizmo-name is a plugin for Pintle: it knows who sends a token.
package main

import (
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, authentication.Point(p))
}
