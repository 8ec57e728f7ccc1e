// Command etcd is etcd as its module publishes it: the peer that test/bench/store measures
// the store against. It is a module of its own, because a server brings everything it needs.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
