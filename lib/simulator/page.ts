export const html = '<!doctype html><title>Phone</title>';
export const css = '';
export const js = '';
export const icon = '<svg xmlns="http://www.w3.org/2000/svg"/>';
