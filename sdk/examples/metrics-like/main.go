// Command loadavg is a plugin that serves an API group of its own, as metrics.k8s.io is served: the
// load of the machine it runs on, read when it changes and stored nowhere.
package main

import (
	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	l := newLoadAverages()
	serve.Serve(l, apiservice.Point(l))
}
