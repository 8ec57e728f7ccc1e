// Package provider makes a plugin of a cloud provider that was written for
// k8s.io/cloud-provider, as those of cloud-controller-managers are:
//
//	func main() {
//		c := provider.New(
//			plugin.Info{Name: "acme", Version: "1.0.0", Permissions: rules},
//			func(config io.Reader) (cloudprovider.Interface, error) { return acme.NewCloud(config) },
//		)
//		serve.Serve(c, cloud.Point(c))
//	}
//
// Its settings have the provider's own configuration. It brings client-go's informers into the
// build, which package cloud does not.
package provider
