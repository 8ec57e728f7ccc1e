// Command podguard is an admission plugin: it gives pods labels that they lack, and refuses
// images whose content may change under their name.
package main

import (
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	g := &podguard{}
	serve.Serve(g, admission.Point(g))
}
