// Package serve is the plugin's end of the contract: Serve turns an implementation of the
// SDK's interfaces into a plugin process.
//
//	func main() {
//		w := widget.New()
//		serve.Serve(w, controller.Point(w), resource.Point(w))
//	}
//
// It must not know who the host is, nor what the plugin does.
package serve
