// One store of IndexedDB in a database of its own. Without storage, in a private window for example, it holds nothing.

/**
 * `run(mode, work)` of the only store of database `name`, whose records have their key in `keyPath`. `work(store)` returns
 * a request; run resolves to its result once the transaction is complete, to undefined without storage.
 */
export function database(name, storeName, keyPath) {
  let opening = null;

  function open() {
    opening ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(storeName, { keyPath });
      request.onsuccess = () => resolve(request.result);
      request.onerror = reject;
    }).catch(() => null);
    return opening;
  }

  return async function run(mode, work) {
    const opened = await open();
    if (!opened) return undefined;
    return new Promise((resolve, reject) => {
      const transaction = opened.transaction(storeName, mode);
      const request = work(transaction.objectStore(storeName));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
      transaction.commit?.(); // at once: a page that is being left would not commit by itself
    });
  };
}
