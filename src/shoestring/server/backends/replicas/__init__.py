"""The backend whose engines are replicas on a Ray cluster: `serve --on ray`. Only this folder knows Ray."""
