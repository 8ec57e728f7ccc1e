// Command keyfile is a key manager for Pintle's encryption at rest whose keys are the files of
// a directory. A real one asks a hardware module or a cloud's key service instead; everything
// else would be the same.
package main

import (
	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	k := &keyfile{}
	serve.Serve(k, kms.Point(k))
}
