// The page needs no service worker and registers none. A browser that got one from another program
// at this address asks for it here again: this one takes its place and then removes itself.
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', () => self.registration.unregister());
