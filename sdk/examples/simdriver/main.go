// Command simdriver is a container runtime whose containers are hollow: they have a state, a log
// and a few commands that it plays itself, and no process.
package main

import (
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &simDriver{}
	serve.Serve(p, runtimedriver.Point(p))
}
