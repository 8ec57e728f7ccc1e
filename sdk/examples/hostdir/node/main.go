// Command hostdir-node is the half of the storage hostdir that runs on every node: it makes the
// directories, mounts them for pods, and removes them.
package main

import (
	"github.com/pintle-dev/pintle/sdk/serve"
	"github.com/pintle-dev/pintle/sdk/storage"
)

func main() {
	m := &mounter{}
	serve.Serve(m, storage.Point(m))
}
