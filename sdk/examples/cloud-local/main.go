// Command cloud-local is a cloud provider for one machine: its instances are lines of a file, its
// load balancers listen on an address of the machine and pass connections on to nodes.
package main

import (
	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	l := &localCloud{}
	serve.Serve(l, cloud.Point(l))
}
