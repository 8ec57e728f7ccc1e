// Command fewestpods is a plugin for Pintle: a scheduler of its own.
package main

import (
	"github.com/pintle-dev/pintle/sdk/scheduler"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, scheduler.Point(p))
}
