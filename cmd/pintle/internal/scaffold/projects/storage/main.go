// Command gizmo-name is a plugin for Pintle: a storage. With the argument "node" it is the half that
// runs on nodes.
package main

import (
	"os"

	"github.com/pintle-dev/pintle/sdk/serve"
	"github.com/pintle-dev/pintle/sdk/storage"
)

func main() {
	p := &Plugin{onNode: len(os.Args) > 1 && os.Args[1] == "node"}
	serve.Serve(p, storage.Point(p))
}
