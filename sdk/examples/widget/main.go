// Command widget is a plugin that adds a resource type of its own to a Pintle cluster, with a rule
// that no schema can express, and a controller that acts on it.
package main

import (
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	w := newPlugin()
	serve.Serve(w, resource.Point(w), controller.Point(w))
}
