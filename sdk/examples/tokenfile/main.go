// Command tokenfile authenticates and authorizes from files. A real plugin asks a directory or
// an identity provider instead; everything else would be the same.
package main

import (
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	f := &tokenfile{}
	serve.Serve(f, authentication.Point(f), authorization.Point(f))
}
