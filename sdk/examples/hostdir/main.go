// Command hostdir is a storage whose volumes are directories of nodes: this half runs beside the
// servers and makes and removes volumes; the other, in the folder node, runs on every node and
// mounts them.
package main

import (
	"github.com/pintle-dev/pintle/sdk/serve"
	"github.com/pintle-dev/pintle/sdk/storage"
)

func main() {
	p := &provisioner{}
	serve.Serve(p, storage.Point(p))
}
