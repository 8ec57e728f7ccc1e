// Command cheapest is a plugin with a part in scheduling: it makes Pintle's scheduler prefer the
// nodes that cost least, and refuse those that cost more than a pod may.
package main

import (
	"github.com/pintle-dev/pintle/sdk/scheduling"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	c := newPlugin()
	serve.Serve(c, scheduling.Point(c))
}
