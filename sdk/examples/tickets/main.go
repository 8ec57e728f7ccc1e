// Command tickets is a plugin with a resource type that has two versions, which differ by more than
// their name, defaults and rules that no schema can express, and a verb of its own.
package main

import (
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	t := &tickets{}
	serve.Serve(t, resource.Point(t))
}
